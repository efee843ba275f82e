import { formatDuration, printable } from '../../format.js';

export { formatBytes, formatCount, formatDuration, formatPlural } from '../../format.js';

/** What is not known, or not at all. */
export const NONE = '–';

/** Marks that reorder the text around them: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters */
const DIRECTIONS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A text of the source or the server, with what cannot be seen or would reorder others written out. */
export function shown(text: string): string {
  return printable(text).replace(
    DIRECTIONS,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** `12 s`, `3 min 5 s`, `2 h 7 min`, `3 d 4 h`: whole seconds, as they count. */
export function formatSpan(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return seconds < 60 ? `${seconds} s` : formatDuration(seconds * 1000);
}

/** `30 s`, `5 min`, `1 h 30 min`: a span that does not count, without parts that are nought. */
export function formatPeriod(ms: number): string {
  return ms < 1000 ? formatDuration(ms) : formatSpan(ms).replace(/ 0 (?:s|min|h)$/, '');
}

/** `2026-11-23 15:04:05`, in local time. */
export function formatTime(at: number): string {
  const date = new Date(at);
  const two = (number: number) => String(number).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
