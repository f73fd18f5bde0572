"""What `benches/compare` is made of: one module a question.

accounting  what did a process cost?             processes  who runs, where, is it ready?
load        what is asked of it?                 rows       what is compared with what, and what must hold?
idle        what does an idle connection cost?   report     how is it shown?
relay       what if Redis were further away?
"""
