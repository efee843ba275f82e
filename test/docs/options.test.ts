import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import * as api from '../../src/index.js';
import { ROOT } from './pages.js';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  MiB: 1024 * 1024,
  min: 60_000,
  s: 1000,
};

/** The fields of the options by their declaration. */
function declaredOptions(): string[] {
  const text = readFileSync(join(ROOT, 'dist/src/options.d.ts'), 'utf8');
  const [, body = ''] = /export interface StorageSyncOptions \{([^]*?)^\}/m.exec(text) ?? [];
  return [...body.matchAll(/^ {4}readonly (\w+)\??:/gm)].map(([, name]) => name!);
}

/** The names of the table of options, each with what stands for its default. */
function tabledOptions(): Map<string, string> {
  const page = readFileSync(join(ROOT, 'docs/tuning.md'), 'utf8');
  const [, table = ''] = /^## Options\n([^]*?)^##/m.exec(page) ?? [];
  const options = new Map<string, string>();
  for (const [, names = '', defaults = ''] of table.matchAll(/^\| (`[^|]*)\|([^|]*)\|/gm)) {
    const each = defaults.trim().split(', ');
    const found = [...names.matchAll(/`(\w+)/g)].map(([, name]) => name!);
    found.forEach((name, i) => options.set(name, each[i] ?? ''));
  }
  return options;
}

/** A number as the table writes it, such as `20 000`, `8 MiB` or `15 min`. */
function numberIn(text: string): number {
  const [, digits = '', unit = ''] = /^([\d. ]*\d) ?([A-Za-z]*)$/.exec(text) ?? [];
  return Number(digits.replaceAll(' ', '')) * (UNITS[unit] ?? NaN);
}

/** `maxPageBytes` of DEFAULT_MAX_PAGE_BYTES. */
function optionOf(constant: string): string {
  const words = constant.replace('DEFAULT_', '').toLowerCase();
  return words.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

void describe('the table of options', () => {
  void it('has every option', () => {
    const declared = declaredOptions().filter((name) => name !== 'preset');
    assert.ok(declared.length > 15);
    assert.deepEqual([...tabledOptions().keys()].toSorted(), declared.toSorted());
  });

  void it('has the defaults that the code has', () => {
    const options = tabledOptions();
    let compared = 0;
    for (const [constant, value] of Object.entries(api)) {
      const text = options.get(optionOf(constant));
      if (!constant.startsWith('DEFAULT_') || text === undefined) continue;
      assert.equal(numberIn(text), value, constant);
      compared++;
    }
    assert.ok(compared >= 13, `${compared} defaults were compared`);
  });
});
