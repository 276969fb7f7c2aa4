import fc from 'fast-check'
import t from 'tap'
import { type Linked, LinkedList } from '../src/linked-list.ts'
import { holds } from './support/holds.ts'
import { like, throwsLike } from './support/like.ts'

class Item implements Linked<Item> {
  list: LinkedList<Item> | undefined
  previous: Item | undefined
  next: Item | undefined
}

t.test('a list keeps the order of adding, whatever is taken out', async (t) => {
  const steps = fc.array(fc.record({ isAdd: fc.boolean(), which: fc.nat(9) }), { maxLength: 60 })
  await holds(
    t,
    fc.property(steps, (steps) => {
      const items = Array.from({ length: 10 }, () => new Item())
      const list = new LinkedList<Item>()
      const model: Item[] = []
      for (const { isAdd, which } of steps) {
        const item = items[which] ?? new Item()
        const index = model.indexOf(item)
        if (isAdd && index === -1) {
          list.add(item)
          model.push(item)
        } else if (!isAdd) {
          if (list.delete(item) !== (index !== -1)) return false
          if (index !== -1) model.splice(index, 1)
        }
        const isSame = [...list].every((each, i) => each === model[i]) && list.size === model.length
        if (!isSame || list.first !== model[0] || list.has(item) !== model.includes(item)) return false
      }
      return true
    }),
  )
  t.pass('as an array would')
})

t.test('what has been taken out refers to nothing that is still there', async (t) => {
  const list = new LinkedList<Item>()
  const [a, b, c] = [new Item(), new Item(), new Item()]
  for (const item of [a, b, c]) list.add(item)
  list.delete(b)
  like(t, b, { list: undefined, previous: undefined, next: undefined })
  t.notOk(list.delete(b))
  t.strictSame([...list], [a, c])
  list.delete(a)
  list.delete(c)
  t.equal(list.first, undefined)
  t.equal(list.size, 0)
})

t.test('the item at hand may be taken out in passing', async (t) => {
  const list = new LinkedList<Item>()
  const items = [new Item(), new Item(), new Item()]
  for (const item of items) list.add(item)
  const seen: Item[] = []
  for (const item of list) {
    seen.push(item)
    list.delete(item)
  }
  t.strictSame(seen, items)
  t.equal(list.size, 0)
})

t.test('an item stands in one list at a time', async (t) => {
  const [one, other] = [new LinkedList<Item>(), new LinkedList<Item>()]
  const item = new Item()
  one.add(item)
  throwsLike(t, () => other.add(item), { message: 'bug: the item stands in a list already' })
  throwsLike(t, () => one.add(item), { message: 'bug: the item stands in a list already' })
  t.notOk(other.delete(item))
  t.ok(one.has(item))
})
