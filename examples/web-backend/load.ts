import { createHistogram, performance, type RecordableHistogram } from 'node:perf_hooks';
import { Agent, request } from 'node:http';
import { skuOf } from './products.js';

/** What a load of requests met. Times in milliseconds, from when a request was due to the end of its answer. */
export interface Latencies {
  readonly requests: number;
  readonly failures: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface LoadOptions {
  readonly origin: string;
  readonly products: number;
  readonly requestsPerSecond: number;
  /** Ends the load. */
  readonly until: Promise<unknown>;
}

/**
 * Sends requests at a constant rate, whether answers come or not, and measures each from the time at which it was due:
 * a pause of the server is seen by all requests that fall into it (https://www.azul.com/files/HowNotToMeasureLatency_LLSummit_NYC_12Nov2013.pdf).
 */
export async function load({
  origin,
  products,
  requestsPerSecond,
  until,
}: LoadOptions): Promise<Latencies> {
  const histogram = createHistogram({ figures: 3 });
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const open = new Set<Promise<void>>();
  let failures = 0;
  let ended = false;
  void until.then(() => {
    ended = true;
  });
  const begun = performance.now();
  for (let sent = 0; !ended;) {
    const due = begun + (sent * 1000) / requestsPerSecond;
    if (performance.now() < due) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      continue;
    }
    const path = `/products/${skuOf(Math.floor(Math.random() * products))}`;
    const answer = get(agent, new URL(path, origin)).then(
      (status) => {
        if (status !== 200) failures++;
        record(histogram, performance.now() - due);
      },
      () => {
        failures++;
      },
    );
    open.add(answer);
    void answer.then(() => open.delete(answer));
    sent++;
  }
  await Promise.all(open);
  agent.destroy();
  return {
    requests: histogram.count,
    failures,
    p50: histogram.percentile(50) / 1e6,
    p99: histogram.percentile(99) / 1e6,
    max: histogram.max / 1e6,
  };
}

function record(histogram: RecordableHistogram, milliseconds: number): void {
  histogram.record(Math.max(1, Math.round(milliseconds * 1e6)));
}

async function get(agent: Agent, url: URL): Promise<number> {
  return await new Promise((resolve, reject) => {
    const asked = request(url, { agent }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode ?? 0));
      answer.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}
