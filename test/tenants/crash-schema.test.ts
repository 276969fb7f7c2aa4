import t from 'tap'
import { crashSuite } from './crash-suite.ts'

await crashSuite(t, 'schema')
