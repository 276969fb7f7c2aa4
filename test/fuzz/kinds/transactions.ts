import { type Db, sql } from '../../../src/pool/statement.ts'
import type { Kind } from '../kind.ts'
import { exactly, ownWords, type Question, refused, sqlState, text } from '../question.ts'
import type { Scene } from '../scene.ts'
import { IGNORED } from './session.ts'

/** Statements that end a transaction, or begin another one in it. */
const ENDS = [
  'commit',
  'COMMIT WORK',
  'end',
  'rollback',
  'abort',
  'commit and chain',
  'rollback and chain',
  '/* quietly */ commit',
  '-- quietly\nend',
] as const
const BEGINS = [
  'begin',
  'start transaction',
  'BEGIN isolation level serializable',
  '/* quietly */ begin',
] as const
const PARTS = [
  'savepoint own',
  'release savepoint own',
  'rollback to savepoint own',
  `prepare transaction 'own'`,
  `commit prepared 'own'`,
  'set transaction read only',
  'set constraints all deferred',
] as const

const REFUSAL = refused(/transaction|commit|rollback|begin|end|abort|savepoint|prepare/i)
/** No transaction, no such savepoint, not allowed in or outside of one, no such or not allowed prepared one. */
const STATES = ['25P01', '3B001', '25001', '55000', '42704', '2D000', '0A000', '42501']
const FAILED = ['25P02']

/** TRANSACTIONS are words about transactions, as statements and in transactions, and what goes wrong in these. */
export const TRANSACTIONS: readonly Kind[] = [
  {
    name: 'end of a transaction as a statement',
    weight: 3,
    isPlain: true,
    beside: { any: ['CONNECTION_LOST'] },
    make: ({ random }) => plain(random.pick(ENDS)),
  },
  {
    name: 'begin of a transaction as a statement',
    weight: 2,
    isPlain: true,
    beside: { any: ['CONNECTION_LOST'] },
    // It must not be let through: what comes behind it would be in it.
    make: ({ random }) => ({
      statement: text(random.pick(BEGINS)),
      error: (error) => REFUSAL(error) || sqlState(['25001'])(error),
    }),
  },
  {
    name: 'part of a transaction as a statement',
    weight: 2,
    isPlain: true,
    beside: { any: ['CONNECTION_LOST'] },
    make: ({ random }) => plain(random.pick(PARTS)),
  },
  {
    name: 'commit inside of a block of code',
    weight: 1,
    isPlain: true,
    make: () => plain('do $$ begin commit; end $$'),
  },
  {
    name: 'end of a transaction in a transaction',
    weight: 3,
    beside: { any: ['CONNECTION_LOST'] },
    play: (scene) =>
      scene.use((db) =>
        scene.transaction(db, async (tx) => {
          await mustAnswer(scene, tx)
          const statement = text(scene.random.pick([...ENDS, ...BEGINS]))
          const outcome = await scene.ask(tx, { statement, error: REFUSAL }, { isInTransaction: true })
          // What is let through has ended the transaction: nothing that comes is of any use.
          if ('rows' in outcome) throw new Error('the transaction was ended')
          await mustAnswer(scene, tx)
        }),
      ),
  },
  {
    name: 'ignored error in a transaction',
    weight: 3,
    play: (scene) =>
      scene.use((db) =>
        scene.transaction(
          db,
          async (tx) => {
            await mustAnswer(scene, tx)
            await fails(scene, tx)
            await scene.good(tx, { isInTransaction: true, allows: FAILED })
            await scene.good(tx, { isInTransaction: true, allows: FAILED })
          },
          { words: IGNORED },
        ),
      ),
  },
  {
    name: 'error in a savepoint',
    weight: 3,
    play: (scene) =>
      scene.use((db) =>
        scene.transaction(
          db,
          async (tx) => {
            await mustAnswer(scene, tx)
            await scene.transaction(tx, async (inner) => {
              await mustAnswer(scene, inner)
              await fails(scene, inner)
              throw new Error('back to the savepoint')
            })
            await mustAnswer(scene, tx)
          },
          { words: IGNORED },
        ),
      ),
  },
  {
    name: 'transaction given up',
    weight: 2,
    play: (scene) =>
      scene.use((db) =>
        scene.transaction(db, async (tx) => {
          await mustAnswer(scene, tx)
          throw new Error('given up')
        }),
      ),
  },
  {
    name: 'statements of a transaction all at once',
    weight: 3,
    play: (scene) =>
      scene.use((db) =>
        scene.transaction(
          db,
          async (tx) => {
            const all = Array.from({ length: 5 }, () => scene.good(tx, { isInTransaction: true }))
            await Promise.all(all)
          },
          { words: IGNORED },
        ),
      ),
  },
  {
    name: 'transaction that does not wait for its statement',
    weight: 2,
    play: async (scene) => {
      let left: Promise<unknown> = Promise.resolve()
      await scene.use((db) =>
        scene.transaction(
          db,
          async (tx) => {
            await mustAnswer(scene, tx)
            left = scene.good(tx, { isInTransaction: true })
          },
          { words: IGNORED },
        ),
      )
      await left
    },
  },
  {
    name: 'transaction used after its end',
    weight: 1,
    play: (scene) =>
      scene.use(async (db) => {
        let kept: Db | undefined
        await scene.transaction(
          db,
          async (tx) => {
            kept = tx
            await mustAnswer(scene, tx)
          },
          { words: IGNORED },
        )
        if (kept === undefined) return
        const question: Question = { statement: sql`select 1`, error: refused(/after its end/) }
        await scene.ask(kept, question)
      }),
  },
  {
    name: 'statement time limit in a transaction',
    weight: 1,
    play: (scene) =>
      scene.use((db) =>
        scene.transaction(
          db,
          async (tx) => {
            const limit = { statement: text(`set local statement_timeout = '20ms'`), answer: exactly([]) }
            const outcome = await scene.ask(tx, limit, { isInTransaction: true })
            if ('error' in outcome) throw outcome.error
            const { nonce } = scene.asking()
            const slow = {
              statement: sql`select ${nonce}::int as nonce, pg_sleep(5)`,
              error: (error: unknown) => (error as { code?: unknown }).code === 'STATEMENT_TIMEOUT',
            }
            await scene.ask(tx, slow, { isInTransaction: true })
          },
          { words: IGNORED },
        ),
      ),
  },
]

function plain(words: string): Question {
  return {
    statement: text(words),
    answer: exactly([]),
    error: (error) => REFUSAL(error) || sqlState(STATES)(error),
  }
}

/** Throws the statement's error, so that the transaction ends by it. */
async function mustAnswer(scene: Scene, tx: Db): Promise<void> {
  const outcome = await scene.good(tx, { isInTransaction: true })
  if ('error' in outcome) throw outcome.error
}

async function fails(scene: Scene, tx: Db): Promise<void> {
  const { nonce } = scene.asking()
  const question: Question = {
    statement: sql`select raise_own(${nonce}::int, 'FZ002')`,
    error: sqlState(['FZ002'], ownWords(nonce)),
  }
  await scene.ask(tx, question, { isInTransaction: true, allows: FAILED })
}
