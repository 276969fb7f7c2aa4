import t from 'tap'
import { migrateSuite } from './own-migrate-suite.ts'

migrateSuite(t, 'schema')
