import {
  AT_NODE_FLAGS,
  IS_DATABASE,
  parseTree,
  TREE_BYTES,
  writeTree,
  type Meta,
  type Tree,
} from '../lmdb-format.js';
import { unusable } from './data-file.js';
import { keyOf, nodesOf, readSmallTree, type Leaf, type SmallTree } from './small-tree.js';

/** The list of the named databases of a file, with what its records say of their trees. */
export class NamedTrees {
  readonly pages: SmallTree;
  readonly #path: string;
  readonly #changed = new Set<Leaf>();

  constructor(fd: number, path: string, meta: Meta) {
    this.#path = path;
    this.pages = readSmallTree(fd, path, meta, meta.main);
  }

  /** @throws {CacheError} `CACHE_CORRUPT` when the database has records, or is not there. */
  refuseFilled(name: string): void {
    this.#findEmpty(name);
  }

  /** Changes, in memory, the record of a database that was empty. */
  describe(name: string, tree: Tree): void {
    const { leaf, at } = this.#findEmpty(name);
    writeTree(leaf.page, at, tree);
    this.#changed.add(leaf);
  }

  isChanged(leaf: Leaf): boolean {
    return this.#changed.has(leaf);
  }

  #findEmpty(name: string): { leaf: Leaf; at: number } {
    // lmdb-js's fork keeps the NUL that ends a name.
    const key = Buffer.from(`${name}\0`);
    for (const leaf of this.pages.leaves) {
      const { page } = leaf;
      for (const node of nodesOf(page)) {
        const found = keyOf(page, node);
        if (!found.equals(key)) continue;
        const at = found.byteOffset - page.byteOffset + found.length;
        const isDatabase =
          page.readUInt16LE(node + AT_NODE_FLAGS) === IS_DATABASE &&
          page.readUInt32LE(node) === TREE_BYTES;
        if (!isDatabase) throw unusable(this.#path, `${JSON.stringify(name)} is no database`);
        if (parseTree(page, at).root === null) return { leaf, at };
        throw unusable(this.#path, `its database ${JSON.stringify(name)} has records already`);
      }
    }
    throw unusable(this.#path, `it has no database ${JSON.stringify(name)}`);
  }
}
