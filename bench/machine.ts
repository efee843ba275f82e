import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

const PACKAGES = [
  '@libsql/client',
  'libsql',
  'lmdb',
  'msgpackr',
  'piscina',
  'xxhash-wasm',
] as const;

/** The package's own directory, two above this built file's. */
export const PACKAGE_ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What the figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
  readonly packages: Readonly<Record<string, string>>;
  /** Null outside of a git checkout. */
  readonly commit: string | null;
  readonly hasLocalChanges: boolean;
  /** Processes that wanted a core in the last minute, before the bench began. */
  readonly load: number;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${platform()} ${release()} ${process.arch}`,
    node: process.version,
    packages: Object.fromEntries(PACKAGES.map((name) => [name, versionOf(name)])),
    commit: git('rev-parse', 'HEAD'),
    hasLocalChanges: (git('status', '--porcelain', '--', 'src', 'workers', 'bench') ?? '') !== '',
    load: loadavg()[0] ?? 0,
  };
}

function versionOf(name: string): string {
  const path = `${PACKAGE_ROOT}node_modules/${name}/package.json`;
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
  } catch {
    return 'unknown';
  }
}

function git(...args: readonly string[]): string | null {
  try {
    return execFileSync('git', args, {
      cwd: PACKAGE_ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null;
  }
}
