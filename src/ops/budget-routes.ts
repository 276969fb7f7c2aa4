import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger } from 'fastify'
import { Type } from 'typebox'
import { LessorError } from '../errors.ts'
import { problemResponses } from '../http/problem-schema.ts'
import type { BudgetSnapshot, Pools, ServerBudget } from '../pool/contract.ts'
import type { ServerCapacity } from '../servers/server-capacity.ts'
import { adviseSizes } from './advice.ts'
import {
  type Asked,
  BudgetSchema,
  type NodeView,
  presentNodes,
  presentServer,
  presentUsages,
} from './budget-schemas.ts'
import { NoAnswerError, Question } from './question.ts'
import type { SizeFacts } from './size-facts.ts'

export interface BudgetRoutesOptions {
  readonly pools: Pick<Pools, 'budget' | 'counters'>
  /** Data servers to show even before the first connection there, each with its connections over all nodes, and this node's share of each. */
  readonly servers: () => readonly { readonly name: string; readonly budget: number }[]
  readonly serverLimit: (server: string) => number
  /** Asks a data server for its limits and sessions. */
  readonly capacity: (server: string) => Promise<ServerCapacity>
  /** The live nodes, from the control database, and which of them this is. */
  readonly nodes: { readonly id: string; list(): Promise<readonly NodeView[]> }
  readonly sizes: Pick<SizeFacts, 'limits' | 'roleConnectionLimit' | 'controlMaxConnections'>
  readonly uptimeMs: () => number
}

/** An operator who looks into a fault wants the other parts of the answer soon. */
const TIMEOUT_MS = 2000

const UNUSED: Omit<ServerBudget, 'server' | 'limit'> = {
  used: 0,
  peak: 0,
  opening: 0,
  closing: 0,
  claims: 0,
  breaker: { state: 'closed', failures: 0, retryAt: null, lastCode: null },
  holders: [],
}

const HoldersLimit = Type.Integer({
  minimum: 0,
  maximum: 10_000,
  default: 100,
  description: 'Holders to show of each data server',
})

/** budgetRoutes explain the hard limits: who holds what, what there is, and which sizes to change. Expects accessPlugin. */
export const budgetRoutes: FastifyPluginAsyncTypebox<BudgetRoutesOptions> = async (fastify, options) => {
  const { pools, sizes, uptimeMs } = options
  const nodes = new Question(() => options.nodes.list(), TIMEOUT_MS)
  const capacities = new Map<string, Question<ServerCapacity>>()

  /** Data servers are few and never leave. */
  function capacityOf({ server }: ServerBudget): Question<ServerCapacity> {
    let question = capacities.get(server)
    if (question === undefined) {
      question = new Question(() => options.capacity(server), TIMEOUT_MS)
      capacities.set(server, question)
    }
    return question
  }

  fastify.addHook('onRequest', fastify.guards.operator)

  fastify.get(
    '/ops/budget',
    {
      schema: {
        tags: ['Operations'],
        summary:
          'The hard limits of this process: who holds what, what the data servers have, and advice on sizes',
        querystring: Type.Object({ holders: HoldersLimit }, { additionalProperties: false }),
        response: {
          200: BudgetSchema,
          ...problemResponses('INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN'),
        },
      },
    },
    async ({ query, log }) => {
      const budget = complete(pools.budget(), options)
      const [known, asked] = await Promise.all([
        attempt(nodes, 'the nodes', log),
        Promise.all(
          budget.servers.map(async (server) => ({
            server,
            capacity: await attempt(capacityOf(server), `data server ${server.server}`, log),
          })),
        ),
      ])
      return {
        ...presentUsages(budget),
        servers: asked.map(({ server, capacity }) => presentServer(server, capacity, query.holders)),
        ...presentNodes(known, options.nodes.id),
        advice: [
          ...adviseSizes({
            ...sizes,
            budget,
            serverBudgets: new Map(options.servers().map((each) => [each.name, each.budget])),
            uptimeMs: uptimeMs(),
            counters: pools.counters(),
            nodes: countLive(known),
            capacities: new Map(
              asked.flatMap(({ server, capacity }) =>
                'value' in capacity ? [[server.server, capacity.value] as const] : [],
              ),
            ),
          }),
        ],
      }
    },
  )
}

/** The engine knows a data server from the first connection on. */
function complete(
  budget: BudgetSnapshot,
  { servers, serverLimit }: Pick<BudgetRoutesOptions, 'servers' | 'serverLimit'>,
): BudgetSnapshot {
  const unused = servers()
    .filter(({ name }) => !budget.servers.some(({ server }) => server === name))
    .map(({ name: server }) => ({ ...UNUSED, server, limit: serverLimit(server) }))
  return { ...budget, servers: [...budget.servers, ...unused] }
}

async function attempt<T>(question: Question<T>, what: string, log: FastifyBaseLogger): Promise<Asked<T>> {
  try {
    return { value: await question.answer() }
  } catch (error) {
    log.warn({ err: error }, `${what} could not be asked`)
    return { reason: reasonOf(error) }
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof LessorError || error instanceof NoAnswerError) return error.message
  const code = error instanceof Error && 'code' in error ? ` (${error.code})` : ''
  return `The question was refused${code}.`
}

/** This process runs, whatever the control database knows. */
function countLive(nodes: Asked<readonly NodeView[]>): number {
  return 'value' in nodes ? Math.max(1, nodes.value.length) : 1
}
