import t from 'tap'
import { lifeSuite } from './own-life-suite.ts'

lifeSuite(t, 'schema')
