/**
 * Writes a float as serde_json does: always with a fraction or an exponent, `-0.0` kept, and
 * null for what JSON has no number for.
 */
export function formatFloat(value: number): string {
  if (!Number.isFinite(value)) {
    return 'null';
  }
  if (value === 0) {
    return Object.is(value, -0) ? '-0.0' : '0.0';
  }
  const [mantissa = '', exponentText = '0'] = Math.abs(value).toExponential().split('e');
  const digits = mantissa.replace('.', '');
  const pointAt = Number(exponentText) + 1;
  const sign = value < 0 ? '-' : '';
  if (pointAt > 16 || pointAt <= -5) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    return `${sign}${digits.slice(0, 1)}${fraction}e${pointAt - 1}`;
  }
  if (pointAt <= 0) {
    return `${sign}0.${'0'.repeat(-pointAt)}${digits}`;
  }
  if (digits.length <= pointAt) {
    return `${sign}${digits.padEnd(pointAt, '0')}.0`;
  }
  return `${sign}${digits.slice(0, pointAt)}.${digits.slice(pointAt)}`;
}
