import { ReaderHost } from '../../src/pipeline/reader-host.js';
import { heldCaches, onSessionEnded, serveReader } from '../../src/pipeline/serve.js';
import { loadChecksum } from '../../src/transform/checksum.js';
import { losing } from './faulty-threads.js';

/** The thread entry `workers/reader.ts`, which may be lost. */
const host = new ReaderHost({ checksum: await loadChecksum(), held: heldCaches() });
onSessionEnded((session) => host.endSession(session));

export default serveReader(losing(host));
