import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { packageLicenses } from './package-licenses.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SOURCES = join(ROOT, 'src/watch');
const TARGET = join(ROOT, 'dist/src/watch');

const { outputFiles, metafile } = await build({
  absWorkingDir: ROOT,
  entryPoints: [join(SOURCES, 'page/main.ts')],
  outdir: TARGET,
  bundle: true,
  minify: true,
  format: 'iife',
  target: ['es2022', 'chrome111', 'firefox115', 'safari16.4'],
  charset: 'utf8',
  logLevel: 'warning',
  metafile: true,
  write: false,
});

const script = outputOf('.js');
const style = outputOf('.css');
const page = readFileSync(join(SOURCES, 'page/page.html'), 'utf8')
  .replace(/\n\s*/g, '\n')
  .replace('<!-- style -->', () => `<style>${style}</style>`)
  .replace('<!-- script -->', () => `<script>${script}</script>`)
  // Every copy of a package has to carry its licence, those that browsers get too.
  .concat(`<!--\n${packageLicenses(ROOT, [metafile]).replaceAll('--', '- -')}-->\n`);
/** https://www.w3.org/TR/CSP3/: only this script and this style run, and only this server is asked. */
const policy = [
  "default-src 'none'",
  `script-src ${hashOf(script)}`,
  `style-src ${hashOf(style)}`,
  "connect-src 'self'",
  'img-src data:',
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

writeFileSync(
  join(TARGET, 'status-page.js'),
  `export const STATUS_PAGE = ${JSON.stringify(page)};\nexport const STATUS_PAGE_CSP = ${JSON.stringify(policy)};\n`,
);
copyFileSync(join(SOURCES, 'status-page.d.ts'), join(TARGET, 'status-page.d.ts'));

function outputOf(extension: string): string {
  const file = outputFiles.find(({ path }) => path.endsWith(extension));
  if (!file) throw new Error(`The page has no ${extension}.`);
  return file.text;
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
