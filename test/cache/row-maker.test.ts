import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { rowMaker } from '../../src/cache/row-maker.js';
import type { SqlValue } from '../../src/values.js';
import fc from '../support/fast-check.js';

const PLAIN_ODD_NAMES = [
  '__proto__',
  'constructor',
  'toString',
  'cells',
  '',
  '10',
  '2',
  '-1',
  '01',
];
const QUOTED_NAMES = [
  '"',
  "'",
  '`${cells}`',
  '\\',
  '\n',
  '\0',
  '\u2028',
  '*/',
  '"]: 1, [',
  'naïve',
  '😀',
  '\ud800',
];
const ODD_NAMES = PLAIN_ODD_NAMES.concat(QUOTED_NAMES);

/** Property by property, as the rows are promised. */
function expected(columns: readonly string[], cells: readonly SqlValue[]): object {
  const row = {};
  for (const [i, name] of columns.entries()) {
    Object.defineProperty(row, name, {
      value: cells[i],
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return row;
}

function assertAlike(columns: readonly string[], given: object, wanted: object): void {
  assert.equal(Object.getPrototypeOf(given), Object.prototype);
  assert.deepEqual(Reflect.ownKeys(given), Reflect.ownKeys(wanted), JSON.stringify(columns));
  assert.deepEqual(
    Object.getOwnPropertyDescriptors(given),
    Object.getOwnPropertyDescriptors(wanted),
  );
}

void describe('the maker of rows', () => {
  void it('makes plain objects of whatever columns, in their order', () => {
    const name = fc.oneof(fc.constantFrom(...ODD_NAMES), fc.string({ maxLength: 4 }));
    fc.assert(
      fc.property(fc.array(name, { maxLength: 30 }), (columns) => {
        const cells = columns.map((_, i) => i);
        assertAlike(columns, rowMaker(columns)(cells), expected(columns, cells));
      }),
      { numRuns: 1000 },
    );
    assertAlike(ODD_NAMES, rowMaker(ODD_NAMES)(ODD_NAMES), expected(ODD_NAMES, ODD_NAMES));
  });

  void it('makes rows of many columns', () => {
    for (const width of [500, 501, 2000]) {
      const columns = Array.from({ length: width }, (_, i) => `c${i}`);
      assertAlike(columns, rowMaker(columns)(columns), expected(columns, columns));
    }
  });

  void it('keeps one maker for the same columns', () => {
    assert.equal(rowMaker(['a', 'b']), rowMaker(['a', 'b']));
    assert.notEqual(rowMaker(['a', 'b']), rowMaker(['a,b']));
    assert.equal(
      rowMaker(['a', 'b'], Uint8Array.of(0, 1)),
      rowMaker(['c', 'b'], Uint8Array.of(0, 1)),
    );
    assert.notEqual(
      rowMaker(['a', 'b'], Uint8Array.of(1)),
      rowMaker(['b', 'a'], Uint8Array.of(0, 1)),
    );
  });

  void it('makes the same rows where code may not be made of text', () => {
    const script = `
      import assert from 'node:assert/strict';
      import { rowMaker } from ${JSON.stringify(new URL('../../src/cache/row-maker.js', import.meta.url).href)};
      assert.throws(() => new Function('return 1'), EvalError);
      const columns = ['b', 'a', '__proto__', '1', 'b'];
      const row = rowMaker(columns)([1, 'x', null, 2n, 3]);
      assert.equal(Object.getPrototypeOf(row), Object.prototype);
      assert.deepEqual(Object.entries(row), [['1', 2n], ['b', 3], ['a', 'x'], ['__proto__', null]]);
      console.log('alike');
    `;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--disallow-code-generation-from-strings', '--input-type=module', '-e', script],
      { encoding: 'utf8', timeout: 60_000 },
    );
    assert.equal(stdout.trim(), 'alike', stderr);
  });
});
