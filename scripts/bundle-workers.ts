import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type BuildOptions, type BuildResult, type Plugin } from 'esbuild';
import { packageLicenses } from './package-licenses.js';

const DIST = fileURLToPath(new URL('..', import.meta.url));
const WORKERS = join(DIST, 'workers');
const ENTRIES = ['reader', 'writer'];
/** Packages with native addons, and those that bring such packages along or share state with them. */
const KEPT_APART = /^(?:@libsql\/client|fs-native-extensions|libsql|lmdb|msgpackr|piscina)$/;
const NAMESPACE = 'kept-apart';

/**
 * Loads packages by `require`: of most there is one file for that, and Node need not look through it for its exports,
 * which takes half as long as `import` does.
 */
const requirePackages: Plugin = {
  name: NAMESPACE,
  setup: (builder) => {
    builder.onResolve({ filter: KEPT_APART }, ({ path, kind }) =>
      kind === 'import-statement' ? { path, namespace: NAMESPACE } : { path, external: true },
    );
    builder.onLoad({ filter: KEPT_APART, namespace: NAMESPACE }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
    }));
  },
};

const OPTIONS = {
  absWorkingDir: DIST,
  outdir: WORKERS,
  plugins: [requirePackages],
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  banner: {
    js: "import { createRequire as __requireFrom } from 'node:module';\nconst require = __requireFrom(import.meta.url);",
  },
  logLevel: 'warning',
  metafile: true,
  write: false,
} as const satisfies BuildOptions;

/**
 * Puts what a thread entry needs into one file, in the entry's place: most of a thread's start Node would take to find and
 * read some hundred modules. What is imported lazily has files of its own.
 */
const bundles = await Promise.all(ENTRIES.map(bundle));
for (const [i, { outputFiles }] of bundles.entries()) {
  rmSync(partsOf(ENTRIES[i]!), { recursive: true, force: true });
  for (const { path, contents } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, contents);
  }
}
const metafiles = bundles.map(({ metafile }) => metafile);
writeFileSync(join(WORKERS, 'LICENSES.txt'), packageLicenses(DIST, metafiles));

function partsOf(entry: string): string {
  return join(WORKERS, `${entry}-parts`);
}

async function bundle(entry: string): Promise<BuildResult<typeof OPTIONS>> {
  const result = await build({
    ...OPTIONS,
    entryPoints: [join(WORKERS, `${entry}.js`)],
    chunkNames: `${entry}-parts/[name]-[hash]`,
  });
  const isWhole = Object.keys(result.metafile.inputs).some((path) => path.startsWith('src/'));
  if (!isWhole) throw new Error(`workers/${entry}.js is a bundle already: compile it first.`);
  return result;
}
