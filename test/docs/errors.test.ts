import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ROOT } from './pages.js';

/** The codes by their type's declaration: a type has no value to look at. */
function declaredCodes(): string[] {
  const text = readFileSync(join(ROOT, 'dist/src/errors.d.ts'), 'utf8');
  const [, union = ''] = /export type ErrorCode = ([^;]*);/.exec(text) ?? [];
  return [...union.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => code!);
}

void describe('the page of errors', () => {
  void it('has each code once, with its cause and what to do, and no other', () => {
    const codes = declaredCodes();
    assert.ok(codes.length > 30);
    const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
    const rows = [...page.matchAll(/^\| `([A-Z_]+)`\s*\|([^|]*)\|([^|]*)\|$/gm)];
    assert.deepEqual(rows.map(([, code]) => code!).toSorted(), codes.toSorted());
    for (const [, code, cause = '', remedy = ''] of rows) {
      assert.ok(cause.trim().length > 10 && remedy.trim().length > 3, code);
    }
  });
});
