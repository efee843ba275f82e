import { createClient } from '@libsql/client';
import { defineTable } from 'storage-sync';

/** What the shop sells, as the backend reads it. */
export const products = defineTable({
  name: 'products',
  columns: {
    sku: 'text',
    title: 'text',
    category: 'text',
    cents: 'integer',
    rating: 'real',
    stock: 'integer',
    description: 'text',
    updated_at: 'integer',
  },
  key: ['sku'],
});

/** The key of one of the products, by its number. */
export function skuOf(number: number): string {
  // Numbers that follow on one another have keys far apart, as random ids do.
  return ((number * 2_654_435_761) % 2 ** 32).toString(16).padStart(8, '0');
}

const PRODUCTS_AT_ONCE = 20_000;

/** Fills a database with products, as a shop would have them in Turso. */
export async function makeShop(url: string, count: number): Promise<void> {
  const shop = createClient({ url });
  await shop.executeMultiple(`
    PRAGMA journal_mode = WAL;
    CREATE TABLE products (
      sku TEXT PRIMARY KEY NOT NULL, title TEXT NOT NULL, category TEXT NOT NULL, cents INTEGER NOT NULL,
      rating REAL NOT NULL, stock INTEGER NOT NULL, description TEXT NOT NULL, updated_at INTEGER NOT NULL
    );
  `);
  for (let first = 0; first < count; first += PRODUCTS_AT_ONCE) {
    await shop.execute({
      sql: `
        WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :end)
        INSERT INTO products
        SELECT printf('%08x', (n * 2654435761) % 4294967296), 'Product ' || n, 'category-' || (n % 40),
               100 + n % 10000, (n % 50) / 10.0, n % 300,
               'A thing of use, number ' || n || ', well made and kept in store for those who want one of it.',
               1700000000 + n
        FROM numbers`,
      args: { first, end: Math.min(count, first + PRODUCTS_AT_ONCE) },
    });
  }
  shop.close();
}
