import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../duration.js';
import { ConfigError } from '../errors.js';

export function wholeNumber(min: number, max = Infinity): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(number)) {
      throw new InvalidArgumentError('It must be a whole number.');
    }
    if (number < min) throw new InvalidArgumentError(`It must be at least ${min}.`);
    if (number > max) throw new InvalidArgumentError(`It must be at most ${max}.`);
    return number;
  };
}

/** A share, from 0 to 1. */
export function share(text: string): number {
  const number = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || number > 1) {
    throw new InvalidArgumentError('It must be a number from 0 to 1.');
  }
  return number;
}

export function nameList(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.includes('')) throw new InvalidArgumentError('It must be names separated by commas.');
  return names;
}

export function duration(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new InvalidArgumentError(error.hint ?? error.message);
  }
}
