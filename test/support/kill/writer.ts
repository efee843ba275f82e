import type { WriterTasks } from '../../../src/pipeline/messages.js';
import { serveWriter } from '../../../src/pipeline/serve.js';
import { openGeneration, WriterHost } from '../../../src/pipeline/writer-host.js';
import { loadChecksum } from '../../../src/transform/checksum.js';
import { reach, reachAsync } from './fault.js';
import { watchEnvironment } from './watched-environment.js';
import { watchGenerationFiles } from './watched-files.js';

/** The task under way: its transactions and puts are named after it. */
let task = 'open';

watchGenerationFiles();
const host = new WriterHost({
  checksum: await loadChecksum(),
  openEnvironment: (generation) => {
    reach('environment:before-open');
    const environment = openGeneration(generation);
    reach('environment:opened');
    watchEnvironment(environment, (step) => reach(`${task}:${step}`));
    return environment;
  },
});

function step<Name extends keyof WriterTasks>(
  name: Name,
  work: (request: WriterTasks[Name]['request']) => object | Promise<object>,
): (request: WriterTasks[Name]['request']) => Promise<object> {
  return async (request) => {
    await reachAsync(`${name}:received`);
    task = name;
    const response = await work(request);
    await reachAsync(`${name}:done`);
    return response;
  };
}

/** The thread entry `workers/writer.ts` with faults between. */
export default serveWriter({
  open: step('open', (request) => host.open(request)),
  prepare: step('prepare', (request) => host.prepare(request)),
  index: step('index', (request) => host.index(request)),
  write: step('write', (request) => host.write(request)),
  beginLoad: step('beginLoad', (request) => host.beginLoad(request)),
  addRuns: step('addRuns', (request) => host.addRuns(request)),
  abandonLoad: step('abandonLoad', (request) => host.abandonLoad(request)),
  endLoad: step('endLoad', (request) => host.endLoad(request)),
  divide: step('divide', (request) => host.divide(request)),
  apply: step('apply', (request) => host.apply(request)),
  restart: step('restart', (request) => host.restart(request)),
  follow: step('follow', (request) => host.follow(request)),
  beginSweep: step('beginSweep', (request) => host.beginSweep(request)),
  insertMissed: step('insertMissed', (request) => host.insertMissed(request)),
  absentKeys: step('absentKeys', (request) => host.absentKeys(request)),
  sweep: step('sweep', (request) => host.sweep(request)),
  previewSweep: step('previewSweep', (request) => host.previewSweep(request)),
  abandon: step('abandon', (request) => host.abandon(request)),
  complete: step('complete', (request) => host.complete(request)),
  repairRows: step('repairRows', (request) => host.repairRows(request)),
  repairEntries: step('repairEntries', (request) => host.repairEntries(request)),
  repairCount: step('repairCount', (request) => host.repairCount(request)),
  addFetched: step('addFetched', (request) => host.addFetched(request)),
  close: step('close', (request) => host.close(request)),
});
