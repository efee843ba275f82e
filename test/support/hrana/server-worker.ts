import { parentPort, workerData } from 'node:worker_threads';
import { FaultRules } from './faults.js';
import { Listener } from './listener.js';
import type { CallMessage, ReplyMessage, ResolvedOptions, ServerCalls } from './options.js';
import { StatsCollector } from './stats.js';

const options = workerData as ResolvedOptions;
const faults = new FaultRules();
const stats = new StatsCollector();
let listener: Listener | undefined;
let { port } = options;

type Calls = {
  readonly [M in keyof ServerCalls]: (
    argument: ServerCalls[M]['argument'],
  ) => ServerCalls[M]['result'] | Promise<ServerCalls[M]['result']>;
};

const calls: Calls = {
  start: async () => {
    if (listener === undefined) {
      const starting = new Listener(options, faults, stats);
      port = await starting.listen(port);
      listener = starting;
    }
    return port;
  },
  stop: async () => {
    const stopping = listener;
    listener = undefined;
    await stopping?.close();
    return undefined;
  },
  addFault: (spec) => faults.add(spec),
  removeFault: (id) => {
    faults.remove(id);
    return undefined;
  },
  firedBy: (id) => faults.firedBy(id),
  clearFaults: () => {
    faults.clear();
    return undefined;
  },
  stats: () => ({
    requests: stats.requests,
    requestsByPath: stats.requestsByPath,
    connections: stats.connections,
    wsConnections: stats.wsConnections,
    wsMessages: stats.wsMessages,
    bytesSent: stats.bytesSent,
    bytesReceived: stats.bytesReceived,
    statementCount: stats.statementCount,
    statements: stats.statements,
    rowsReturned: stats.rowsReturned,
    faultsFired: faults.fired,
    replayed: stats.replayed,
    openStreams: listener?.openStreams ?? 0,
    expiredStreams: listener?.expiredStreams ?? 0,
  }),
  resetStats: () => {
    stats.reset();
    faults.resetCount();
    return undefined;
  },
};

async function answer({ id, method, argument }: CallMessage): Promise<ReplyMessage> {
  try {
    const call = calls[method] as (argument: unknown) => unknown;
    return { id, result: await call(argument) };
  } catch (error) {
    return { id, error };
  }
}

parentPort?.on('message', (message: CallMessage) => {
  void answer(message).then((reply) => parentPort?.postMessage(reply));
});
