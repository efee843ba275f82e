import { Secrets } from '../secrets.js';

/** A source's URL for people: without what may be secret, or is of no interest. */
export function shownUrl(url: string): string {
  const secrets = new Secrets();
  secrets.addUrl(url);
  return secrets.redact(url.replace(/[?#].*$/s, ''));
}
