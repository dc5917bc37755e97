"""amplitude_phase (Diao and Jiang): 3DMM regression with region weights and amplitude and phase losses."""
