import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { CacheError } from '../errors.js';
import { cacheIoError, readSmallFile, writeFileAtomic } from './files.js';
import { manifestBackupPath, manifestPath } from './layout.js';

/** The version of everything below a cache directory. A cache of a newer one is refused. */
export const FORMAT_VERSION = 1;

const PRODUCT = 'storage-sync';

/** No cache is built anew so often; a greater number is none of ours, and the one behind it may be none at all. */
export const MAX_GENERATION = 2 ** 48;

const generation = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_GENERATION));

const schema = v.object({
  product: v.literal(PRODUCT),
  format: v.literal(FORMAT_VERSION),
  /** Names the cache to a change log of its source, which keeps what its readers have not read yet. */
  cacheId: v.string(),
  /** The generation that readers see, or null before the first complete sync. */
  live: v.nullable(generation),
  /** A generation that is being built and is not served. */
  building: v.nullable(
    v.object({
      generation,
      /** The boot of the machine that it was begun on: it was not forced to disk, and is worth nothing after another. */
      boot: v.string(),
      startedAt: v.string(),
    }),
  ),
});

/** Which generation is served. The one file whose replacement publishes a generation. */
export type Manifest = v.InferOutput<typeof schema>;

/** The manifest of a new cache. */
export function newManifest(): Manifest {
  return {
    product: PRODUCT,
    format: FORMAT_VERSION,
    cacheId: randomUUID(),
    live: null,
    building: null,
  };
}

/** The generation that readers are served, or null where none is yet. Throws as {@link readManifest} does. */
export function liveGeneration(cacheDir: string): number | null {
  return readManifest(cacheDir)?.live ?? null;
}

/**
 * The manifest of a cache directory, or null where there is none. Where it is damaged or missing, its backup. One that
 * seems to be of another product or format is damaged if its backup is ours, because the backup is written first.
 *
 * @throws {CacheError} `CACHE_FORMAT_UNSUPPORTED` for another format or product, `CACHE_CORRUPT` when neither can be
 * understood.
 */
export function readManifest(cacheDir: string): Manifest | null {
  try {
    return readOne(manifestPath(cacheDir)) ?? readOne(manifestBackupPath(cacheDir));
  } catch (error) {
    const backup = isUnusable(error) ? readBackup(cacheDir) : null;
    if (backup === null) throw error;
    return backup;
  }
}

/** Writes a manifest where it is damaged or missing and its backup is not. For the holder of the cache's lock. */
export async function healManifest(cacheDir: string): Promise<boolean> {
  const backup = readBackup(cacheDir);
  if (backup === null || isReadable(cacheDir)) return false;
  await writeManifest(cacheDir, backup);
  return true;
}

/** The backup is written first: what it names is complete, and is there until the manifest names something else. */
export async function writeManifest(cacheDir: string, manifest: Manifest): Promise<void> {
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  await writeFileAtomic(manifestBackupPath(cacheDir), text);
  await writeFileAtomic(manifestPath(cacheDir), text);
}

function isReadable(cacheDir: string): boolean {
  try {
    return readOne(manifestPath(cacheDir)) !== null;
  } catch (error) {
    if (isUnusable(error)) return false;
    throw error;
  }
}

function isUnusable(error: unknown): boolean {
  return (
    error instanceof CacheError &&
    (error.code === 'CACHE_CORRUPT' || error.code === 'CACHE_FORMAT_UNSUPPORTED')
  );
}

function readBackup(cacheDir: string): Manifest | null {
  try {
    return readOne(manifestBackupPath(cacheDir));
  } catch {
    return null;
  }
}

function readOne(path: string): Manifest | null {
  let text: string;
  try {
    text = readSmallFile(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw cacheIoError(error, path);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw corrupt(path, 'it is not JSON', error);
  }
  refuseOthers(parsed, path);
  const result = v.safeParse(schema, parsed);
  if (!result.success) throw corrupt(path, result.issues[0].message);
  return result.output;
}

/** What is not ours, or from a later version, is not to be mended. */
function refuseOthers(parsed: unknown, path: string): void {
  const product =
    typeof parsed === 'object' && parsed !== null && 'product' in parsed ? parsed.product : PRODUCT;
  if (product !== PRODUCT) {
    throw new CacheError(
      'CACHE_FORMAT_UNSUPPORTED',
      `The directory belongs to ${JSON.stringify(product)}, not to storage-sync.`,
      { context: { path }, hint: 'Use another --cache directory.' },
    );
  }
  const format =
    typeof parsed === 'object' && parsed !== null && 'format' in parsed ? parsed.format : undefined;
  if (typeof format === 'number' && format > FORMAT_VERSION) {
    throw new CacheError(
      'CACHE_FORMAT_UNSUPPORTED',
      `The cache has format ${format}; this version of storage-sync knows format ${FORMAT_VERSION}.`,
      {
        context: { path, format, supported: FORMAT_VERSION },
        hint: 'Use the newer version of storage-sync that wrote it, or another --cache directory.',
      },
    );
  }
}

function corrupt(path: string, why: string, cause?: unknown): CacheError {
  return new CacheError(
    'CACHE_CORRUPT',
    `The manifest ${JSON.stringify(path)} cannot be read: ${why}.`,
    {
      cause,
      context: { path },
      hint: 'Remove the cache directory and sync again, or use another one: the source has everything.',
    },
  );
}
