import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** What may be in the package, by path. */
const MEANT =
  /^(dist\/(src|workers)\/.+\.(js|cjs|d\.ts|d\.cts|wasm)|dist\/workers\/LICENSES\.txt|docs\/[\w-]+\.md|[A-Z]+(\.md)?|package\.json)$/;
const MAX_PACKED_BYTES = 1024 * 1024;
const IMPORTED = /(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]+)"|(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g;

/** Holds a packed package, and the directory that it was unpacked to, to being small and whole. */
export function checkContents(tarball: string, directory: string): void {
  const { size } = statSync(tarball);
  assert.ok(size <= MAX_PACKED_BYTES, `The package takes ${size} bytes.`);
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const unmeant = files
    .map((file) => relative(directory, file))
    .filter((file) => !MEANT.test(file));
  assert.deepEqual(unmeant, [], 'There is more in the package than was meant.');
  for (const file of files.filter((each) => /\.(js|cjs|d\.ts)$/.test(each))) {
    const text = readFileSync(file, 'utf8');
    assert.ok(!/^\/\/# sourceMappingURL/m.test(text), `${file} names a map that is not there.`);
    const code = text.replace(/^\s*\*.*$/gm, '');
    for (const [, double, single] of code.matchAll(IMPORTED)) {
      const target = join(dirname(file), (double ?? single)!);
      const found = [target, target.replace(/\.(c?)js$/, '.d.$1ts')].some((each) =>
        existsSync(each),
      );
      assert.ok(found, `${file} imports ${target}, which is not in the package.`);
    }
  }
}
