import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type BuildOptions, type BuildResult, type Metafile, type Plugin } from 'esbuild';

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
const notices = licenses(bundles.map(({ metafile }) => metafile));
writeFileSync(join(WORKERS, 'LICENSES.txt'), notices);

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

/** The licences of packages of which the bundles hold a copy. */
function licenses(metafiles: readonly Metafile[]): string {
  const inputs = metafiles.flatMap((metafile) =>
    Object.values(metafile.outputs).flatMap((output) => Object.keys(output.inputs)),
  );
  const packages = inputs.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []);
  return [...new Set(packages)].toSorted().map(license).join('\n');
}

function license(path: string): string {
  const dir = join(DIST, path);
  const { name, version } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as {
    readonly name: string;
    readonly version: string;
  };
  const file = readdirSync(dir).find((each) => /^licen[cs]e/i.test(each));
  if (file === undefined) throw new Error(`${name} has no licence that a bundle could carry.`);
  return `${name} ${version}\n\n${readFileSync(join(dir, file), 'utf8').trim()}\n`;
}
