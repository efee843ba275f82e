import { diagnose, type Diagnosis } from '../doctor/diagnose.js';
import type { Finding, FindingStatus } from '../doctor/finding.js';
import { formatPlural, printable } from '../format.js';
import type { CommandContext } from './command-run.js';
import { EXIT_DONE, EXIT_FAILED, EXIT_SOURCE_UNAVAILABLE } from './exit-code.js';
import { syncSettings, type SyncFlags } from './settings.js';

const SIGNS: Readonly<Record<FindingStatus, string>> = {
  ok: 'ok      ',
  warning: 'warning ',
  failed: 'FAILED  ',
  skipped: 'skipped ',
};

/** `storage-sync doctor`: looks at everything and says what to do. Warnings are no failure. */
export async function doctor(
  flags: SyncFlags,
  { output, secrets }: CommandContext,
): Promise<number> {
  const diagnosis = await diagnose(await syncSettings(flags, secrets, process.env));
  if (output.json) await output.document(diagnosis);
  else await output.write(secrets.redact(diagnosisText(diagnosis, output.quiet)));
  if (diagnosis.healthy) return EXIT_DONE;
  const failed = diagnosis.findings.filter(({ status }) => status === 'failed');
  return failed.every(isOutage) ? EXIT_SOURCE_UNAVAILABLE : EXIT_FAILED;
}

function isOutage({ code }: Finding): boolean {
  return code === 'SOURCE_UNAVAILABLE' || code === 'SOURCE_TIMEOUT';
}

function diagnosisText({ version, source, cacheDir, findings }: Diagnosis, quiet: boolean): string {
  const shown = quiet
    ? findings.filter(({ status }) => status === 'warning' || status === 'failed')
    : findings;
  const width = Math.max(0, ...shown.map(({ check }) => check.length));
  const indent = ' '.repeat(SIGNS.ok.length + width + 2);
  const lines = shown.flatMap(({ check, status, found, hint }) => {
    const line = `${SIGNS[status]}${check.padEnd(width)}  ${printable(found)}`;
    return hint === null ? [line] : [line, `${indent}${printable(hint)}`];
  });
  if (quiet) return lines.map((line) => `${line}\n`).join('');
  const title = printable(`storage-sync ${version}, from ${source} to ${cacheDir}`);
  return `${title}\n\n${lines.join('\n')}\n\n${summary(findings)}\n`;
}

function summary(findings: readonly Finding[]): string {
  const count = (status: FindingStatus) => findings.filter((each) => each.status === status).length;
  const failed = count('failed');
  const warnings = formatPlural(count('warning'), 'warning');
  return failed === 0 ? `Nothing failed; ${warnings}.` : `${failed} failed; ${warnings}.`;
}
