/** Linked is what can stand in one {@link LinkedList} at a time. Only the list changes these. */
export interface Linked<T extends Linked<T>> {
  list: LinkedList<T> | undefined
  previous: T | undefined
  next: T | undefined
}

/**
 * LinkedList keeps items in the order in which they were added, for those that come and go with every
 * request. A Set would do, but it moves to a new table whenever it has seen enough of them, and the table that
 * was left refers to what was in it and to the next one (V8, src/objects/ordered-hash-table.h). Once one of
 * those is old, all after it outlive the collections of the young generation, and their requests with them.
 */
export class LinkedList<T extends Linked<T>> {
  #first: T | undefined
  #last: T | undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  /** first is the one that was added longest ago. */
  get first(): T | undefined {
    return this.#first
  }

  has(item: T): boolean {
    return item.list === this
  }

  /** add appends an item. @throws Error when it stands in a list already */
  add(item: T): void {
    if (item.list !== undefined) throw new Error('bug: the item stands in a list already')
    item.list = this
    item.previous = this.#last
    if (this.#last === undefined) this.#first = item
    else this.#last.next = item
    this.#last = item
    this.#size += 1
  }

  /** delete takes an item out; false when it does not stand in this list. */
  delete(item: T): boolean {
    if (item.list !== this) return false
    const { previous, next } = item
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    // An item that is gone must not refer to those that stay: see above.
    item.list = undefined
    item.previous = undefined
    item.next = undefined
    this.#size -= 1
    return true
  }

  /** Goes on when the item that it is at is taken out; ends early when the one after that is. */
  *[Symbol.iterator](): Generator<T, void> {
    let item = this.#first
    while (item !== undefined) {
      const { next }: T = item
      yield item
      item = next
    }
  }
}
