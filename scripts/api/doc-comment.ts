/** A docstring, taken apart. Its texts are Markdown. */
export interface DocComment {
  readonly summary: string;
  readonly params: readonly { readonly name: string; readonly text: string }[];
  readonly returns: string | null;
  readonly throws: readonly string[];
  readonly examples: readonly string[];
}

/**
 * Takes a docstring apart at its block tags.
 *
 * @param link gives the Markdown link to what `{@link …}` names.
 */
export function parseDocComment(comment: string, link: (target: string) => string): DocComment {
  const text = comment
    .replace(/^\/\*\*|\*\/\s*$/g, '')
    .replace(/^[ \t]*\* ?/gm, '')
    .replace(/\{@link\s+([^}\s|]+)[^}]*\}/g, (_, target: string) => link(target))
    // The extractor escapes what TSDoc would take for its own.
    .replace(/\\([{}@<>])/g, '$1')
    // It also takes the empty lines away that stand before code.
    .replace(/([^\n])\n```ts\n/g, '$1\n\n```ts\n')
    .trim();
  const [summary = '', ...blocks] = text.split(/^(?=@[a-z]+\b)/m);
  const ofTag = (tag: string): string[] =>
    blocks
      .filter((block) => block.startsWith(`@${tag}`))
      .map((block) => block.slice(tag.length + 1).trim());
  return {
    summary: summary.trim(),
    params: ofTag('param').map((block) => {
      const [, name = '', rest = ''] = /^(\S+)\s*-?\s*([^]*)$/.exec(block) ?? [];
      return { name, text: rest };
    }),
    returns: ofTag('returns')[0] ?? null,
    throws: ofTag('throws').map((block) => block.replace(/^\{(\w+)\}/, (_, name) => link(name))),
    examples: ofTag('example'),
  };
}
