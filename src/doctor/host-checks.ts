import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describeError } from '../errors.js';
import { formatBytes, formatCount } from '../format.js';
import { DEFAULT_MAX_BYTES_IN_FLIGHT, type ResolvedOptions } from '../options.js';
import { finding, type Finding } from './finding.js';

/** Packages with native code: they may lack a build for a platform. */
const NATIVE_PACKAGES = ['lmdb', 'libsql', 'fs-native-extensions'];
/** The oldest Node.js that is supported. */
const OLDEST_NODE = [20, 19] as const;
/** What a sync takes beside an idle process with the default budget: the bound that G6 is tested against. */
const SYNC_BYTES = 256_000_000;
/** A sync of a file had 64 open at the most, on a machine of two processors; the rest is for the program around it. */
const FILES_NEEDED = 256;
/** From here on processes spend too much time waiting for memory: a share of the last minute, in percent. */
const MEMORY_PRESSURE = 10;

/** Looks at what the program runs on: Node.js, native packages, memory, file descriptors. */
export async function checkHost(options: ResolvedOptions): Promise<Finding[]> {
  const packages = await Promise.all(NATIVE_PACKAGES.map(checkPackage));
  return [checkNode(), ...packages, checkMemory(options), checkPressure(), checkFiles()];
}

function checkNode(): Finding {
  const { version, platform, arch } = process;
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  const isOld = major < oldestMajor || (major === oldestMajor && minor < oldestMinor);
  const found = `Node.js ${version} on ${platform} ${arch}`;
  return isOld
    ? finding('host.node', 'failed', found, `Install Node.js ${OLDEST_NODE.join('.')} or newer.`)
    : finding('host.node', 'ok', found);
}

/** Imported as the rest of the program imports it, so that it is not loaded twice. */
async function checkPackage(name: string): Promise<Finding> {
  const check = `host.${name}`;
  try {
    await import(name);
    return finding(check, 'ok', `${name} ${versionOf(name)} is loaded`);
  } catch (error) {
    const [firstLine = ''] = describeError(error).split('\n');
    const hint =
      'Install again on this machine, with optional dependencies, without --ignore-scripts: npm ci. Alpine Linux (musl) is not supported.';
    return finding(check, 'failed', `${name} cannot be loaded: ${firstLine}`, hint);
  }
}

/** Not all packages let their `package.json` be imported: it is looked for above what can be. */
function versionOf(name: string): string {
  let dir = dirname(createRequire(import.meta.url).resolve(name));
  for (;;) {
    const text = readOrNull(join(dir, 'package.json'));
    const found = text === null ? {} : (JSON.parse(text) as { name?: string; version?: string });
    if (found.name === name && found.version !== undefined) return found.version;
    if (dirname(dir) === dir) return 'of an unknown version';
    dir = dirname(dir);
  }
}

function checkMemory({ maxBytesInFlight }: ResolvedOptions): Finding {
  const needed = SYNC_BYTES - DEFAULT_MAX_BYTES_IN_FLIGHT + maxBytesInFlight;
  // What the system, or the container, can still give.
  const available = process.availableMemory();
  const found = `a sync takes ${formatBytes(needed)} at most, ${formatBytes(available)} are available`;
  if (needed <= available) return finding('host.memory', 'ok', found);
  const hint =
    'Set maxBytesInFlight (STORAGE_SYNC_MAX_BYTES_IN_FLIGHT) and readerThreads lower, or give the machine or container more memory.';
  return finding('host.memory', 'warning', found, hint);
}

/** Linux tells how much processes wait for memory: https://docs.kernel.org/accounting/psi.html. */
function checkPressure(): Finding {
  const text = readOrNull('/proc/pressure/memory');
  const share = Number(/^some .*avg60=([\d.]+)/m.exec(text ?? '')?.[1] ?? NaN);
  if (Number.isNaN(share)) {
    return finding('host.pressure', 'skipped', 'how short memory is cannot be told here');
  }
  const found = `processes waited for memory for ${share}% of the last minute`;
  if (share < MEMORY_PRESSURE) return finding('host.pressure', 'ok', found);
  const hint =
    'Syncs and reads are slow while memory is short: end what takes it, or give more. A cache is read quickly while it fits into memory.';
  return finding('host.pressure', 'warning', found, hint);
}

function checkFiles(): Finding {
  const limits = readOrNull('/proc/self/limits');
  const soft = /^Max open files\s+(\S+)/m.exec(limits ?? '')?.[1];
  if (soft === undefined) {
    return finding('host.files', 'skipped', 'how many files may be open cannot be told here');
  }
  const limit = soft === 'unlimited' ? Infinity : Number(soft);
  if (limit === Infinity) return finding('host.files', 'ok', 'any number of files may be open');
  const found = `${formatCount(limit)} files may be open`;
  if (limit >= FILES_NEEDED) return finding('host.files', 'ok', found);
  const hint = `Raise the limit to ${FILES_NEEDED} or more: ulimit -n, or LimitNOFILE of a systemd unit.`;
  return finding('host.files', 'warning', found, hint);
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
