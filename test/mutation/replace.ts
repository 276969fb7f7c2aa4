// Loaded before everything else by a process that tries a mutant (NODE_OPTIONS, so that its children and workers have it
// as well): the module that the file of LESSOR_MUTANT names has another text. No file on disk changes.
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

const described = process.env.LESSOR_MUTANT
if (described !== undefined) {
  const { url, source }: { url: string; source: string } = JSON.parse(readFileSync(described, 'utf8'))
  registerHooks({
    load: (asked, context, next) =>
      asked === url ? { format: 'module-typescript', source, shortCircuit: true } : next(asked, context),
  })
}
