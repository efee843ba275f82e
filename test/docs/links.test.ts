import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, it } from 'node:test';
import { guides, ROOT } from './pages.js';

const PAGES = [
  ...guides(),
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'bench/README.md',
  'examples/README.md',
];

function withoutCode(text: string): string {
  return text.replace(/^```[^]*?^```$/gm, '');
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  const text = withoutCode(readFileSync(join(ROOT, page), 'utf8'));
  for (const [, heading = ''] of text.matchAll(/^#+ (.*)$/gm)) {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = plain.replace(/[^\w\- ]/g, '').replaceAll(' ', '-');
    for (let i = 0; ; i++) {
      const name = i === 0 ? anchor : `${anchor}-${i}`;
      if (anchors.has(name)) continue;
      anchors.add(name);
      break;
    }
  }
  return anchors;
}

/** What is wrong with a link of a page, or null. */
function fault(page: string, link: string): string | null {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : normalize(join(dirname(page), path));
  if (!existsSync(join(ROOT, target))) return `${page}: there is no ${link}`;
  if (anchor === undefined || statSync(join(ROOT, target)).isDirectory()) return null;
  return anchorsOf(target).has(anchor) ? null : `${page}: there is no such heading: ${link}`;
}

void describe('the links of the pages', () => {
  void it('lead somewhere', () => {
    const faults: string[] = [];
    for (const page of PAGES) {
      const text = withoutCode(readFileSync(join(ROOT, page), 'utf8')).replace(/`[^`\n]*`/g, '');
      for (const [, link = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        const found = /^[a-z]+:/.test(link) ? null : fault(page, link);
        if (found !== null) faults.push(found);
      }
    }
    assert.deepEqual(faults, []);
  });

  void it('would be found where they lead nowhere', () => {
    assert.equal(fault('README.md', 'docs/api.md#storagesyncopen'), null);
    assert.match(fault('README.md', 'docs/nothing.md') ?? '', /there is no docs\/nothing\.md/);
    assert.match(fault('README.md', 'docs/api.md#nothing') ?? '', /no such heading/);
  });
});
