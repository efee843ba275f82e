import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { THREAD_FILE, WORKER_URLS } from '../../src/pipeline/worker-urls.js';

const LARGE = ['@libsql/client', 'libsql', 'lmdb', 'fs-native-extensions', 'msgpackr', 'piscina'];

/** The files that are loaded before an entry runs, and what else they import by then. */
function loadedAtOnce(entry: string): { readonly texts: string[]; readonly others: string[] } {
  const texts: string[] = [];
  const others: string[] = [];
  const urls = new Set([entry]);
  for (const url of urls) {
    const text = readFileSync(fileURLToPath(url), 'utf8');
    texts.push(text);
    for (const [, name] of text.matchAll(/^(?:import|export)\b[^;"']*["']([^"']+)["'];$/gm)) {
      if (name!.startsWith('./')) urls.add(new URL(name!, url).href);
      else others.push(name!);
    }
  }
  return { texts, others };
}

function requiredPackages(texts: readonly string[]): string[] {
  return texts
    .flatMap((text) => [...text.matchAll(/__require\("([^"]+)"\)/g)].map(([, name]) => name!))
    .filter((name) => LARGE.includes(name));
}

describe('the files of threads', () => {
  for (const [name, url] of Object.entries(WORKER_URLS) as [string, string][]) {
    it(`hold all that a ${name} needs but packages with native addons`, () => {
      assert.ok(existsSync(THREAD_FILE));
      const { texts, others } = loadedAtOnce(url);
      assert.ok(texts.join('').length > 50_000);
      assert.deepEqual(
        others.filter((other) => !isBuiltin(other)),
        [],
      );
    });
  }

  it('load for a reader no package that only some sources or a verify need', () => {
    assert.deepEqual(requiredPackages(loadedAtOnce(WORKER_URLS.reader).texts), []);
    const needed = requiredPackages(loadedAtOnce(WORKER_URLS.writer).texts).toSorted();
    assert.deepEqual(needed, ['fs-native-extensions', 'lmdb', 'msgpackr']);
  });

  it('carry the licences of the packages of which they hold a copy', () => {
    const licenses = readFileSync(new URL('./LICENSES.txt', WORKER_URLS.reader), 'utf8');
    const { texts } = loadedAtOnce(WORKER_URLS.reader);
    const held = texts.flatMap((text) =>
      [...text.matchAll(/^\/\/ \S*node_modules\/((?:@[^/]+\/)?[^/]+)\//gm)].map(
        ([, name]) => name!,
      ),
    );
    assert.ok(held.includes('xxhash-wasm'));
    for (const name of held) {
      assert.match(licenses, new RegExp(`^${name} \\d+\\.\\d+\\.\\d+\\n\\n[^]*?copyright`, 'im'));
    }
  });
});
