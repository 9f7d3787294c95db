import t from 'tap'
import { conformance } from './conformance.ts'

conformance(t, 'sqlite')
