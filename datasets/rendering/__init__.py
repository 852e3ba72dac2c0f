"""A small ray caster of furnished rooms: geometry, furniture, layout, textures, shading and exact labels."""
