import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { bootId } from './cache/boot.js';
import { forgetDamage } from './cache/damage-notes.js';
import { refuseTooFull } from './cache/free-space.js';
import { dataPath, generationPath } from './cache/layout.js';
import {
  MAX_GENERATION,
  newManifest,
  readManifest,
  writeManifest,
  type Manifest,
} from './cache/manifest.js';
import { refuseLinkedGenerations } from './cache/safe-directory.js';
import { CacheError } from './errors.js';
import type { GenerationRef } from './pipeline/messages.js';
import type { SyncMode } from './report.js';

/** The generation that a sync writes. */
export interface Target {
  readonly manifest: Manifest;
  readonly number: number;
  readonly generation: GenerationRef;
}

/**
 * Chooses the generation to write: the one that is served, or one to build beside it.
 *
 * @throws {CacheError} `CACHE_CORRUPT` for a damaged manifest, unless the cache is to be rebuilt; `CACHE_FULL` when
 * the disk has no room for another generation.
 */
export async function chooseGeneration(mode: SyncMode, cacheDir: string): Promise<Target> {
  const manifest = manifestFor(mode, cacheDir);
  if (mode !== 'rebuild' && manifest.live !== null) {
    if (manifest.building) await dropBuilding(cacheDir, manifest);
    // Whoever was killed behind a publishing left the generation before it.
    else await removeOtherGenerations(cacheDir, manifest.live);
    const number = manifest.live;
    const dir = generationPath(cacheDir, number);
    return { manifest, number, generation: { dir, unpublished: false, create: false } };
  }
  const { building } = manifest;
  const resumable = building !== null && building.boot === bootId();
  if (resumable && existsSync(dataPath(generationPath(cacheDir, building.generation)))) {
    const dir = generationPath(cacheDir, building.generation);
    const generation = { dir, unpublished: true, create: false };
    return { manifest, number: building.generation, generation };
  }
  return await beginGeneration(cacheDir, manifest);
}

async function beginGeneration(cacheDir: string, manifest: Manifest): Promise<Target> {
  const { live, building } = manifest;
  const used = [live ?? 0, building?.generation ?? 0, ...(await generationNumbers(cacheDir))];
  const number = Math.max(...used) + 1;
  const next: Manifest = {
    ...manifest,
    building: { generation: number, boot: bootId(), startedAt: new Date().toISOString() },
  };
  await removeOtherGenerations(cacheDir, live);
  if (live !== null) await refuseTooFull(cacheDir, generationPath(cacheDir, live));
  await writeManifest(cacheDir, next);
  const dir = generationPath(cacheDir, number);
  return { manifest: next, number, generation: { dir, unpublished: true, create: true } };
}

/** Gives up what was built beside the served generation. */
export async function dropBuilding(cacheDir: string, manifest: Manifest): Promise<void> {
  await writeManifest(cacheDir, { ...manifest, building: null });
  await removeOtherGenerations(cacheDir, manifest.live);
}

/** Lets readers see the generation: one atomic replacement of the manifest. Then the one before it goes. */
export async function publish(
  cacheDir: string,
  { manifest, generation, number }: Target,
): Promise<void> {
  if (!generation.unpublished) return;
  await writeManifest(cacheDir, { ...manifest, live: number, building: null });
  await removeOtherGenerations(cacheDir, number);
  forgetDamage(cacheDir, (note) => note.generation !== number);
}

/** The manifest of a cache: a new one where there is none, or where one that is lost need not be known. */
function manifestFor(mode: SyncMode, cacheDir: string): Manifest {
  try {
    return readManifest(cacheDir) ?? newManifest();
  } catch (error) {
    const isLost = error instanceof CacheError && error.code === 'CACHE_CORRUPT';
    if (!isLost || mode !== 'rebuild') throw error;
    return newManifest();
  }
}

async function generationNumbers(cacheDir: string): Promise<number[]> {
  const names = await readdir(dirname(generationPath(cacheDir, 1))).catch(() => []);
  return names.map(Number).filter((number) => Number.isInteger(number) && number < MAX_GENERATION);
}

/** Removes the files of generations that are not served. Processes that still read one keep it until they let go. */
async function removeOtherGenerations(cacheDir: string, live: number | null): Promise<void> {
  refuseLinkedGenerations(cacheDir);
  const parent = dirname(generationPath(cacheDir, 1));
  const names = await readdir(parent).catch(() => []);
  await Promise.all(
    names
      .filter((name) => /^\d+$/.test(name) && name !== String(live))
      .map((name) => rm(`${parent}/${name}`, { recursive: true, force: true })),
  );
}
