import { declaration, type ApiItem } from './model.js';
import { parseDocComment, type DocComment } from './doc-comment.js';

/** The parts of the reference, by the files that declare what is in them. Others are put under the last. */
const SECTIONS: readonly (readonly [title: string, files: RegExp])[] = [
  ['Syncing', /^(storage-sync|sync-run|progress|report)\./],
  ['Options', /^(options|transports)\./],
  ['Tables', /^(table-definition|row-schema|values)\./],
  ['Reading', /^cache\/reader\./],
  ['Status', /^(cache|doctor)\//],
  ['Verifying', /^verify\//],
  ['The change log', /^source\/change-log\//],
  ['The source alone', /^source\//],
  ['Threads', /^pipeline\//],
  ['The agent-memory preset', /^memory\//],
  ['Errors', /^errors\./],
  ['More', /^/],
];

const HEAD = `# API

Everything that \`import … from 'storage-sync'\` gives, from the docstrings. Written by \`npm run docs:api\`: change the
docstrings, not this page.
`;

/**
 * The reference as one page of Markdown.
 *
 * @param positionOf where a declaration begins in its file, so that things stay in the order in which they were written.
 */
export function renderReference(
  exported: readonly ApiItem[],
  positionOf: (item: ApiItem, member?: ApiItem) => number,
): string {
  const names = new Set(exported.map(({ name }) => name));
  const renderer = new Renderer(names, positionOf);
  const left = new Set(exported);
  const parts: string[] = [];
  const contents: string[] = [];
  for (const [title, files] of SECTIONS) {
    const items = [...left].filter(({ fileUrlPath = '' }) =>
      files.test(fileUrlPath.replace(/^dist\/src\//, '')),
    );
    if (items.length === 0) continue;
    for (const item of items) left.delete(item);
    const sorted = items.toSorted(byPlace(positionOf));
    const links = sorted.map(({ name }) => `[\`${name}\`](#${anchor(name)})`);
    contents.push(`- **[${title}](#${anchor(title)})**: ${links.join(', ')}`);
    parts.push(`## ${title}`, ...sorted.map((item) => renderer.item(item)));
  }
  return `${[HEAD, contents.join('\n'), ...parts].join('\n\n')}\n`;
}

/** Classes and functions before what they take and give; beyond that as they were written. */
function byPlace(positionOf: (item: ApiItem) => number) {
  const rank = ({ kind }: ApiItem): number =>
    kind === 'Class' ? 0 : kind === 'Function' ? 1 : kind === 'Variable' ? 3 : 2;
  const file = ({ fileUrlPath = '' }: ApiItem): string => fileUrlPath;
  return (a: ApiItem, b: ApiItem): number =>
    rank(a) - rank(b) || file(a).localeCompare(file(b)) || positionOf(a) - positionOf(b);
}

class Renderer {
  readonly #names: ReadonlySet<string>;
  readonly #positionOf: (item: ApiItem, member?: ApiItem) => number;

  constructor(names: ReadonlySet<string>, positionOf: (item: ApiItem, member?: ApiItem) => number) {
    this.#names = names;
    this.#positionOf = positionOf;
  }

  item(item: ApiItem): string {
    const head = `### \`${item.name}\``;
    const members = (item.members ?? []).toSorted(
      (a, b) => this.#positionOf(item, a) - this.#positionOf(item, b),
    );
    if (item.kind === 'Class') {
      const shown = members.filter(({ kind, name }) => kind !== 'Constructor' && name[0] !== '[');
      const rest = this.#members(item.name, shown);
      const made = members.filter(({ kind }) => kind === 'Constructor').map(declaration);
      return join(head, code([declaration(item), ...made].join('\n')), this.#docs(item), ...rest);
    }
    if (item.kind === 'Interface') {
      return join(head, code(declaration(item)), this.#docs(item), this.#fields(members));
    }
    return join(head, code(declaration(item)), this.#docs(item));
  }

  #members(owner: string, members: readonly ApiItem[]): string[] {
    let last = '';
    return members.map((member) => {
      const head = member.name === last ? null : `#### \`${owner}.${member.name}\``;
      last = member.name;
      return join(head, code(declaration(member)), this.#docs(member));
    });
  }

  #fields(members: readonly ApiItem[]): string | null {
    if (members.length === 0) return null;
    const rows = members.map((member) => {
      const { summary } = this.#parsed(member);
      const name = `\`${member.name}${member.isOptional ? '?' : ''}\``;
      return `| ${[name, `\`${fieldType(member)}\``, summary].map(cell).join(' | ')} |`;
    });
    return ['| field | type | |', '| --- | --- | --- |', ...rows].join('\n');
  }

  #docs(item: ApiItem): string {
    const { summary, params, returns, throws, examples } = this.#parsed(item);
    const list = [
      ...params.map(({ name, text }) => `- \`${name}\`: ${oneLine(text)}`),
      ...(returns === null ? [] : [`- Returns ${oneLine(returns)}`]),
      ...throws.map((text) => `- Throws ${oneLine(text)}`),
    ];
    return join(summary, list.join('\n'), ...examples);
  }

  #parsed(item: ApiItem): DocComment {
    return parseDocComment(item.docComment ?? '', (target) => this.#link(target));
  }

  #link(target: string): string {
    const [owner = ''] = target.split('.');
    return this.#names.has(owner) ? `[\`${target}\`](#${anchor(target)})` : `\`${target}\``;
  }
}

function fieldType(member: ApiItem): string {
  const { startIndex, endIndex } = member.propertyTypeTokenRange ?? { startIndex: 0, endIndex: 0 };
  const tokens = (member.excerptTokens ?? []).slice(startIndex, endIndex);
  const type = oneLine(tokens.map(({ text }) => text).join(''));
  return member.isOptional ? type.replace(/ \| undefined$/, '') : type;
}

function code(text: string): string {
  return `\`\`\`ts signature\n${text}\n\`\`\``;
}

function cell(text: string): string {
  return oneLine(text).replaceAll('|', '\\|');
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ').trim();
}

function join(...parts: readonly (string | null)[]): string {
  return parts.filter((part) => part !== null && part !== '').join('\n\n');
}

/** The anchor that GitHub gives a heading. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
}
