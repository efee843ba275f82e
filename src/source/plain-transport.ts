import type { SourceOptions } from '../options.js';

/** A warning where a token crosses a network that anybody on the way can read; else null. */
export function plainTransportWarning({ url, authToken }: SourceOptions): string | null {
  const hasToken = Boolean(authToken) || /[?&]authToken=/i.test(url);
  const isPlain = /^(http|ws):/i.test(url) || (/^libsql:/i.test(url) && /[?&]tls=0/i.test(url));
  if (!hasToken || !isPlain || isLoopback(url)) return null;
  return 'The token is sent without encryption: whoever is on the way can read it, and the rows. Use libsql:, https: or wss:.';
}

function isLoopback(url: string): boolean {
  // Other schemes are parsed with fewer rules.
  const http = url.replace(/^[a-z]+:/i, 'http:');
  if (!URL.canParse(http)) return false;
  return /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(http).hostname);
}
