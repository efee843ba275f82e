import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { CacheError } from '../errors.js';
import { cacheIoError, writeFileAtomic } from './files.js';
import { manifestPath } from './layout.js';

/** The version of everything below a cache directory. A cache of a newer one is refused. */
export const FORMAT_VERSION = 1;

const generation = v.pipe(v.number(), v.integer(), v.minValue(1));

const schema = v.object({
  product: v.literal('storage-sync'),
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
    product: 'storage-sync',
    format: FORMAT_VERSION,
    cacheId: randomUUID(),
    live: null,
    building: null,
  };
}

/**
 * The manifest of a cache directory, or null where there is none.
 *
 * @throws {CacheError} `CACHE_FORMAT_UNSUPPORTED` for another format, `CACHE_CORRUPT` when it cannot be understood.
 */
export function readManifest(cacheDir: string): Manifest | null {
  const path = manifestPath(cacheDir);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
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
  refuseOtherFormat(parsed, path);
  const result = v.safeParse(schema, parsed);
  if (!result.success) throw corrupt(path, result.issues[0].message);
  return result.output;
}

export async function writeManifest(cacheDir: string, manifest: Manifest): Promise<void> {
  await writeFileAtomic(manifestPath(cacheDir), `${JSON.stringify(manifest, null, 2)}\n`);
}

function refuseOtherFormat(parsed: unknown, path: string): void {
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
