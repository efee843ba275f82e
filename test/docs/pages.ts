import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The directory of the repository. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** The README and the guides, as paths below {@link ROOT}. */
export function guides(): string[] {
  const names = readdirSync(join(ROOT, 'docs')).filter((name) => /^[\w-]+\.md$/.test(name));
  return ['README.md', ...names.map((name) => `docs/${name}`)];
}

/** A fenced block of code. */
export interface CodeBlock {
  readonly page: string;
  /** The line of the fence that opens it, from 1 on. */
  readonly line: number;
  readonly language: string;
  /** What stands behind the language: `run`, `signature`, or `skip="why"`. */
  readonly info: string;
  readonly code: string;
}

/** The blocks of code of a page, in order. */
export function codeBlocks(page: string): CodeBlock[] {
  return codeBlocksIn(page, readFileSync(join(ROOT, page), 'utf8'));
}

/** The blocks of code in the text of a page, in order. */
export function codeBlocksIn(page: string, text: string): CodeBlock[] {
  const found = text.matchAll(/^```(\w*) ?([^\n]*)\n([^]*?)^```$/gm);
  return [...found].map(({ 1: language = '', 2: info = '', 3: code = '', index }) => ({
    page,
    line: text.slice(0, index).split('\n').length,
    language,
    info,
    code,
  }));
}

/** Whether a block says that it cannot be tried, and why. */
export function isSkipped({ info }: CodeBlock): boolean {
  return /^skip="[^"]{10,}"$/.test(info);
}
