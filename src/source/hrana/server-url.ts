/** Where a server is, and the token that its URL holds. */
export interface ServerAddress {
  /** What paths are relative to, as `@libsql/client` has it: what is behind its last slash is left out. */
  readonly base: URL;
  readonly authToken: string | undefined;
}

/**
 * The server that an `http:`, `https:` or `libsql:` URL names, as `@libsql/client` would take it; null for any other
 * URL, and for one that it would refuse: it says best what is wrong.
 */
export function serverAddress(url: string): ServerAddress | null {
  const scheme = /^(https?|libsql):\/\//i.exec(url)?.[1]?.toLowerCase();
  // What scheme a URL has decides by which rules it is parsed.
  const parsable = scheme && url.replace(/^[a-z]+:/i, scheme === 'http' ? 'http:' : 'https:');
  if (!parsable || !URL.canParse(parsable)) return null;
  let parsed = new URL(parsable);
  if (parsed.hash || parsed.username || parsed.password) return null;
  let authToken: string | undefined;
  let isPlain = scheme === 'http';
  for (const [name, value] of parsed.searchParams) {
    if (name === 'authToken') authToken = value;
    else if (name === 'tls' && (value === '0' || value === '1')) isPlain = value === '0';
    else return null;
  }
  if (isPlain !== (scheme === 'http')) {
    if (scheme !== 'libsql' || parsed.port === '') return null;
    parsed = new URL(parsed.href.replace(/^https:/, 'http:'));
  }
  parsed.search = '';
  return { base: parsed, authToken };
}
