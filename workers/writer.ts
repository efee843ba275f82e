import { serveWriter } from '../src/pipeline/serve.js';
import { WriterHost } from '../src/pipeline/writer-host.js';
import { loadChecksum } from '../src/transform/checksum.js';

export default serveWriter(new WriterHost({ checksum: await loadChecksum() }));
