import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type HranaServer,
  type HranaServerOptions,
  startHranaServer,
} from '../support/hrana/server.js';

/** A server over a fresh database file; both are gone when the test is over. */
export async function withServer(
  options: Omit<HranaServerOptions, 'file'>,
  use: (server: HranaServer, file: string) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'hrana-'));
  try {
    const file = join(directory, 'data.db');
    const server = await startHranaServer({ file, ...options });
    try {
      await use(server, file);
    } finally {
      await server.close();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
