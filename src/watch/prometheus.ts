import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider, type MetricData, type ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { VERSION } from '../version.js';

/** The content type of Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/). */
export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** The words that Prometheus's names end with for these units of UCUM. */
const SUFFIXES: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes' };

/** Gathers what is measured through its provider, and tells it in Prometheus's text format. */
export class PrometheusMetrics {
  readonly #exporter = new PrometheusExporter({ preventServerStart: true });
  readonly #serializer = new PrometheusSerializer(undefined, false, undefined, false, true);
  readonly provider: MeterProvider;

  constructor() {
    this.provider = new MeterProvider({
      readers: [this.#exporter],
      resource: resourceFromAttributes({
        'service.name': 'storage-sync',
        'service.version': VERSION,
      }),
    });
  }

  async text(): Promise<string> {
    const { resourceMetrics } = await this.#exporter.collect();
    return this.#serializer.serialize(withUnits(resourceMetrics));
  }
}

/**
 * Puts units into the names, which the exporter leaves out
 * (https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1).
 */
function withUnits(metrics: ResourceMetrics): ResourceMetrics {
  const scopeMetrics = metrics.scopeMetrics.map((scope) => {
    return { ...scope, metrics: scope.metrics.map(withUnit) };
  });
  return { ...metrics, scopeMetrics };
}

function withUnit(metric: MetricData): MetricData {
  const { name, unit } = metric.descriptor;
  const suffix = SUFFIXES[unit] ?? '';
  // Units in braces are remarks, which its metadata has no place for.
  const descriptor = {
    ...metric.descriptor,
    name: `${name}${suffix}`,
    unit: suffix.slice(1),
  };
  return { ...metric, descriptor };
}
