import { describeError, StorageSyncError, type ErrorCode } from '../errors.js';
import { formatCount } from '../format.js';

/** How a thing stands: `warning` where it works but could do better, `skipped` where it could not be looked at. */
export type FindingStatus = 'ok' | 'warning' | 'failed' | 'skipped';

/** What one check of a diagnosis found. */
export interface Finding {
  /** What was looked at, such as `cache.state`. Stable; one check may find several things. */
  readonly check: string;
  /** How it stands. */
  readonly status: FindingStatus;
  /** What there is, for people. */
  readonly found: string;
  /** What to do about it, for people; or null. */
  readonly hint: string | null;
  /** The error that it failed with, as `docs/errors.md` lists them; or null. */
  readonly code: ErrorCode | null;
}

export function finding(
  check: string,
  status: FindingStatus,
  found: string,
  hint: string | null = null,
): Finding {
  return { check, status, found, hint, code: null };
}

/** What a failure finds: its message, its hint and its code. */
export function failedFinding(check: string, error: unknown, otherHint?: string): Finding {
  if (!(error instanceof StorageSyncError)) {
    return finding(check, 'failed', describeError(error), otherHint);
  }
  const { message, hint = otherHint ?? null, code } = error;
  return { check, status: 'failed', found: message, hint, code };
}

/** Of checks that could not be made. */
export function skippedFindings(checks: readonly string[], why: string): Finding[] {
  return checks.map((check) => finding(check, 'skipped', why));
}

const MOST_NAMES = 5;

/** Names for people: the first few, and how many there are besides. */
export function someOf(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMES).map((name) => JSON.stringify(name));
  const more = names.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${formatCount(more)} more` : shown.join(', ');
}
