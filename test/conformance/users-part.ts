// The users suite against a running service, over HTTP: TAP on standard output. Run by users.ts.
import t from 'tap'
import type { Answer, Call } from '../users/answers.ts'
import { usersSuite } from '../users/users-suite.ts'

const { BASE_URL = '', OPERATOR_KEY = '', PLACEMENT = '', SERVER = '' } = process.env

t.setTimeout(0)
let made = 0

async function send(key: string, method: string, path: string, body?: unknown): Promise<Answer> {
  const answer = await fetch(`${BASE_URL}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, headers: Object.fromEntries(answer.headers), text: await answer.text() }
}

usersSuite(t, async (): Promise<Call> => {
  made += 1
  const request = { name: `users ${PLACEMENT} ${made}`, placement: PLACEMENT, server: SERVER }
  const answer = await send(OPERATOR_KEY, 'POST', '/v1/tenants', request)
  if (answer.status !== 201) throw new Error(`onboarding was answered ${answer.status}: ${answer.text}`)
  const { api_key }: { api_key: { key: string } } = JSON.parse(answer.text)
  return (method, path, body) => send(api_key.key, method, `/v1/users${path}`, body)
})
