import t from 'tap'
import { conformance } from './conformance.ts'
import { open } from './open.ts'

conformance(t, (t, lasting) => open(t, 'sqlite', lasting))
