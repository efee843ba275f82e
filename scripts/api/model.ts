/**
 * What the reference takes from API Extractor's model of the public declarations (its `.api.json`, described by
 * `@microsoft/api-extractor-model`).
 */
export interface ApiItem {
  readonly kind: string;
  readonly name: string;
  readonly canonicalReference: string;
  /** The docstring with its comment signs; empty where there is none. */
  readonly docComment?: string;
  /** The declaration, in pieces. */
  readonly excerptTokens?: readonly { readonly text: string }[];
  /** The file of declarations that has it, below the package. Only of what is exported. */
  readonly fileUrlPath?: string;
  readonly members?: readonly ApiItem[];
  readonly isOptional?: boolean;
  readonly propertyTypeTokenRange?: { readonly startIndex: number; readonly endIndex: number };
}

/** What needs no docstring: its name says what the language says about it, or the base class does. */
const SELF_EXPLAINING = /^(name|code|\(constructor\)|\[Symbol\..*\])$/;

/** The declaration of an item as it is in the file of declarations. */
export function declaration({ kind, excerptTokens = [] }: ApiItem): string {
  const text = excerptTokens.map((token) => token.text).join('');
  const declared = text.replace(/^export (declare )?/, '').trim();
  return kind === 'Variable' ? `const ${declared}` : declared;
}

/** Exported symbols and methods without a docstring. Of overloads one is enough. */
export function undocumented(exported: readonly ApiItem[]): string[] {
  const missing = namesWithout(exported);
  for (const { kind, name, members = [] } of exported) {
    if (kind !== 'Class') continue;
    missing.push(...namesWithout(members).map((member) => `${name}.${member}`));
  }
  return missing;
}

function namesWithout(items: readonly ApiItem[]): string[] {
  const documented = new Set(items.filter(({ docComment }) => docComment).map(({ name }) => name));
  const names = new Set(items.map((item) => item.name ?? '(constructor)'));
  return [...names].filter((name) => !documented.has(name) && !SELF_EXPLAINING.test(name));
}
