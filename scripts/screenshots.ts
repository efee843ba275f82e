import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launchChromium } from '../test/watch/chromium.js';
import { StubWatch } from '../test/watch/stub-watch.js';

/**
 * Takes the pictures of the status page that the documentation shows, light and dark:
 *
 * ```
 * node dist/scripts/screenshots.js [URL]
 * ```
 *
 * Of the watch that serves that URL, or of one that is made up.
 */
const IMAGES = fileURLToPath(new URL('../../docs/images', import.meta.url));

await using stub = await StubWatch.serve('token');
const url = process.argv[2] ?? stub.url;
const browser = await launchChromium();
try {
  mkdirSync(IMAGES, { recursive: true });
  for (const colorScheme of ['light', 'dark'] as const) {
    const page = await browser.newPage({ colorScheme, viewport: { width: 1280, height: 1480 } });
    await page.goto(url);
    await page.locator('#verdict:not([data-level="unknown"])').waitFor();
    await page.screenshot({ path: join(IMAGES, `status-page-${colorScheme}.png`) });
    await page.close();
  }
} finally {
  await browser.close();
}
