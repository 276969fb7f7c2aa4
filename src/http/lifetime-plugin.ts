import type { IncomingMessage } from 'node:http'
import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Clock } from '../clock.ts'
import { LessorError } from '../errors.ts'
import { type Linked, LinkedList } from '../linked-list.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** How long this request may still be worked on; null before the first hook. */
    lifetime: Lifetime | null
  }
}

export interface LifetimeOptions {
  readonly clock: Clock
  /**
   * A request that takes longer is answered with REQUEST_TIMEOUT, or with REQUEST_INCOMPLETE when its body is
   * what is waited for; undefined when others see to that.
   */
  readonly timeoutMs: number | undefined
  /** Hears of requests whose client went away before the answer: Fastify runs no onResponse for them. */
  readonly onAborted?: (request: FastifyRequest, reply: FastifyReply) => void
}

/**
 * Lifetime is the time in which a request may be worked on: until its answer is sent, its client goes
 * away or its deadline passes. Its signal is made only for who asks for it.
 */
export class Lifetime implements Linked<Lifetime> {
  list: LinkedList<Lifetime> | undefined
  previous: Lifetime | undefined
  next: Lifetime | undefined
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** By the clock, in milliseconds. */
  readonly deadline: number
  #controller: AbortController | undefined
  #reason: LessorError | undefined

  constructor(request: FastifyRequest, reply: FastifyReply, deadline: number) {
    this.request = request
    this.reply = reply
    this.deadline = deadline
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  abort(reason: LessorError): void {
    this.#reason ??= reason
    this.#controller?.abort(this.#reason)
  }
}

const plugin: FastifyPluginCallback<LifetimeOptions> = (fastify, options, done) => {
  const { clock, timeoutMs, onAborted } = options
  const underWay = new LinkedList<Lifetime>()

  fastify.decorateRequest('lifetime', null)
  fastify.decorateRequest('signal', {
    getter() {
      return (this as FastifyRequest).lifetime?.signal ?? new AbortController().signal
    },
  })

  fastify.addHook('onRequest', (request, reply, next) => {
    const lifetime = new Lifetime(request, reply, clock.now() + (timeoutMs ?? 0))
    request.lifetime = lifetime
    underWay.add(lifetime)
    reply.raw.on('close', () => {
      // Still in there: it was not answered, see below.
      if (!underWay.delete(lifetime)) return
      lifetime.abort(new LessorError('CLIENT_CLOSED_REQUEST'))
      onAborted?.(request, reply)
    })
    next()
  })

  fastify.addHook('onResponse', (request, _reply, next) => {
    if (request.lifetime !== null) underWay.delete(request.lifetime)
    next()
  })

  if (timeoutMs !== undefined) {
    const timer = setInterval(expire, Math.min(1000, Math.ceil(timeoutMs / 4)))
    timer.unref()
    fastify.addHook('onClose', (_fastify, next) => {
      clearInterval(timer)
      next()
    })
  }
  done()

  function expire(): void {
    const now = clock.now()
    for (const lifetime of underWay) {
      if (lifetime.deadline > now) return
      timeOut(lifetime)
    }
  }
}

function timeOut(lifetime: Lifetime): void {
  const { reply } = lifetime
  // Sent, or taken over by the route (`reply.hijack()`).
  if (reply.sent) return
  const error = isAwaited(lifetime.request.raw) ? incomplete() : new LessorError('REQUEST_TIMEOUT')
  if (error.code === 'REQUEST_INCOMPLETE') reply.header('connection', 'close')
  lifetime.abort(error)
  // A listener of the signal may have answered meanwhile.
  if (reply.sent) return
  if (reply.raw.headersSent) reply.raw.destroy()
  else reply.send(error)
}

/** Whether a request's body is being read, and the rest of it is still to come: then its client is the slow one. */
function isAwaited({ readableEnded, readableFlowing }: IncomingMessage): boolean {
  return !readableEnded && readableFlowing === true
}

function incomplete(): LessorError {
  return new LessorError('REQUEST_INCOMPLETE', 'The body of the request did not arrive in time.')
}

/**
 * lifetimePlugin gives `request.signal` its meaning and ends requests that take too long. It does what
 * Fastify's `handlerTimeout` is for, which cannot be used: that, and Fastify's own `request.signal`,
 * take the request's `close` event for the client's going away, but Node emits it as soon as the body
 * is read, so that every POST would be aborted at once and have no timeout. It is also cheaper: one
 * set of the requests under way, in the order of their deadlines, instead of a timer for each.
 */
export const lifetimePlugin = fp(plugin, { fastify: '5.x', name: 'lessor-lifetime' })
