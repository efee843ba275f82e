import { Environment } from '../../src/cache/environment.js';

/**
 * Opens an environment and closes it, over and over.
 *
 * Usage: `node opener.js GENERATION_DIR TIMES`
 */
const [dir = '', times = ''] = process.argv.slice(2);
for (let i = 0; i < Number(times); i++) {
  const environment = new Environment(dir);
  environment.rows(1);
  await environment.close();
}
