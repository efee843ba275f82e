import { ReaderHost } from '../src/pipeline/reader-host.js';
import { heldCaches, onSessionEnded, serveReader } from '../src/pipeline/serve.js';
import { loadChecksum } from '../src/transform/checksum.js';

const host = new ReaderHost({ checksum: await loadChecksum(), held: heldCaches() });
onSessionEnded((session) => host.endSession(session));

export default serveReader(host);
